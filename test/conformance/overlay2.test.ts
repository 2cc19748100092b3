/** The kernel's overlay. */
import { conform } from './driver.ts';

conform('overlay2');
