/** What a command in the machine is told. */

/** Emulated processors need so many times longer than real ones; tests wait so much longer. */
const PATIENCE = '10';

/** TSBOX_* variables of ours, and what differs in there. */
export function guestEnvironment(): Record<string, string> {
  const own = Object.entries(process.env).filter(([name, value]) => name.startsWith('TSBOX_') && value !== undefined);
  return { ...(Object.fromEntries(own) as Record<string, string>), TSBOX_PATIENCE: PATIENCE, TMPDIR: '/disk' };
}
