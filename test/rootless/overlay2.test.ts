/** The kernel's overlay as an ordinary user. */
import { conform } from '../conformance/driver.ts';
import { ORDINARY } from './box.ts';

conform('overlay2', ORDINARY);
