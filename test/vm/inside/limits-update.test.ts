/** `update` and `stats` on version 2 of cgroups: the bodies are the system tests' own. */
import '../../system/limits-update.test.ts';
