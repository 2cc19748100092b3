/** The version of tsbox; `package.json` has the same, which a test holds against this. */
export const VERSION = '0.1.0';
