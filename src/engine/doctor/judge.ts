/** From facts to findings. Pure. */
import type { DoctorFacts, Finding } from '../../spec/doctor.ts';
import { cgroupFindings } from './cgroups.ts';
import { kernelFindings } from './kernel.ts';
import { placeFindings } from './places.ts';
import { userFindings } from './users.ts';

/** In the order of reading: tsbox itself and its places come after what the kernel allows. */
export function judge(facts: DoctorFacts): Finding[] {
  return [...kernelFindings(facts), ...userFindings(facts), ...cgroupFindings(facts), ...placeFindings(facts)];
}
