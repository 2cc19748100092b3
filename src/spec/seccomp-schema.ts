/** Checks a profile that a user wrote. Loading this module loads valibot. @see seccomp.ts */
import * as v from 'valibot';
import { TsboxError } from '../errors.ts';
import type { SeccompProfile } from './seccomp.ts';

const text = v.exactOptional(v.string());
const texts = v.exactOptional(v.nullable(v.array(v.string())));
const errno = v.exactOptional(v.nullable(v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(0xffff))));
/** 64 bits: a number that JavaScript cannot hold exactly would forbid something else than was meant. */
const word = v.pipe(v.number(), v.safeInteger(), v.minValue(0));

const condition = v.exactOptional(v.nullable(v.looseObject({ caps: texts, arches: texts, minKernel: text })));

const argument = v.looseObject({
  index: v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(5)),
  value: word,
  valueTwo: v.exactOptional(word),
  op: v.string(),
});

const rule = v.looseObject({
  name: text,
  names: texts,
  action: v.string(),
  errnoRet: errno,
  args: v.exactOptional(v.nullable(v.array(argument))),
  includes: condition,
  excludes: condition,
});

const profile = v.looseObject({
  defaultAction: v.pipe(v.string(), v.nonEmpty('empty defaultAction')),
  defaultErrnoRet: errno,
  architectures: texts,
  archMap: v.exactOptional(v.nullable(v.array(v.looseObject({ architecture: v.string(), subArchitectures: texts })))),
  flags: texts,
  syscalls: v.exactOptional(v.nullable(v.array(rule))),
});

function undecodable(reason: string, cause?: unknown): TsboxError {
  const details = { exitCode: 125, hint: 'The format is that of Docker: see docs/isolation.md.' };
  const message = `Decoding seccomp profile failed: ${reason}`;
  return new TsboxError('ERR_TSBOX_SPEC', message, cause === undefined ? details : { ...details, cause });
}

/** @throws ERR_TSBOX_SPEC when it is not JSON, or something in it has the wrong type */
export function readSeccompProfile(json: string): SeccompProfile {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (cause) {
    throw undecodable(cause instanceof Error ? cause.message : 'not JSON', cause);
  }
  const checked = v.safeParse(profile, value);
  if (!checked.success) {
    const [issue] = checked.issues;
    throw undecodable(`${v.getDotPath(issue) ?? 'the profile'}: ${issue.message}`);
  }
  return checked.output as SeccompProfile;
}
