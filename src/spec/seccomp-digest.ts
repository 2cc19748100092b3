/** The sha256 of seccomp-default.json, so that a start from the cache need not read the profile. A test compares. */
export const DEFAULT_PROFILE_DIGEST = '86690e3b1cf2da872bb03c21d3a4fa47d2c9c5b6122d410de81da1f9c579d685';
