/** Copies instead of a union. */
import { conform } from './driver.ts';

conform('vfs');
