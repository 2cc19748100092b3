/** Docker's default profile: 20.10's, for x86-64 and arm64. Loading this module loads the profile: who only needs to know which one it
 *  is takes the digest from seccomp-digest.ts. */

import type { SeccompProfile } from './seccomp.ts';
import profile from './seccomp-default.json' with { type: 'json' };

export const DEFAULT_PROFILE: SeccompProfile = profile;
