/** Limits and devices on version 2 of cgroups: the bodies are the system tests' own. */
import '../../system/limits.test.ts';
import '../../system/limits-devices.test.ts';
