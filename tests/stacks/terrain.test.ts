/** The way out of CDKTF stays open: CDK Terrain synthesizes the same JSON from the same sources. */
import { expect, test } from 'vitest';
import { compareWithTerrain } from '../../scripts/stacks/terrain.ts';

test('CDK Terrain synthesizes every stack to the same JSON but for the version', () => {
  const { stacks, different, versions } = compareWithTerrain();
  expect(different).toEqual([]);
  expect(stacks).toBe(15);
  expect(versions.after).not.toBe(versions.before);
});
