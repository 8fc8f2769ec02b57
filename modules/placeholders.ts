/**
 * Settings of the environments table that stand for something nobody has made yet: images of others not mirrored, images not baked. They are what only a
 * placeholder can be (the hash of a label, a day that no month has), so that none is forgotten when the real value replaces it.
 */
import { createHash } from 'node:crypto';
import type { Cloud, Environment } from './environments.ts';

const digest = (label: string): string => `sha256:${createHash('sha256').update(label).digest('hex')}`;

/** Stands in for the digest of an image that was not mirrored yet. */
export const unmirrored = <Name extends string>(...names: Name[]): Readonly<Record<Name, string>> => Object.fromEntries(names.map((name) => [name, digest(`unmirrored/${name}`)])) as Record<Name, string>;

/** Fields of an environment that hold placeholders, as far as stacks of that cloud read them. */
export function unsettled({ name, aws, gcp }: Environment, cloud: Cloud): string[] {
  const fields: Readonly<Record<Cloud, string[]>> = {
    aws: /^ami-0123456789abcdef/.test(aws.parentImage) ? ['aws.parentImage'] : [],
    azure: [],
    gcp: [
      ...(/[0-9]{4}00$/.test(gcp.confidentialSpaceImage) ? ['gcp.confidentialSpaceImage'] : []),
      ...Object.entries(gcp.mirrored).filter(([image, value]) => value === digest(`unmirrored/${image}`)).map(([image]) => `gcp.mirrored.${image}`),
    ],
  };
  return fields[cloud].map((field) => `environments.${name}.${field}`);
}
