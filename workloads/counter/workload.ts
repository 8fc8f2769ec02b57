/**
 * The workload: bytes in, schema out. This is the one file to replace by your own: keep `resultSchema`, `load` and `work`.
 *
 * It runs in a child process without keys, network configuration or write access (sandbox.ts). The process that holds
 * keys imports only `resultSchema` from here, so heavy libraries and parsers belong inside `load`.
 */
import { DEFAULT_MODEL, METHOD, modelPath } from '../detectors/pinned.ts';
import { type CountResult, countResultSchema } from '../protocol/messages.ts';

/** What may come out; everything else is stopped before it is signed. */
export const resultSchema = countResultSchema;

export interface Workload {
  readonly model: CountResult['model'];
  /** How many pictures `work` may have in hand at the same time; 1 unless told. With 2 one is decoded while another is counted. */
  readonly atOnce?: number;
  /** @throws WorkRejected when the bytes are at fault; any other error means that we are, and the job is tried again */
  work(bytes: Uint8Array): Promise<CountResult>;
}

/** Boxes are rounded to pixels and scores to 3 digits: what lies below depends on the CPU. */
const rounded = (value: number, digits: number): number => Number(value.toFixed(digits));

/** Once per process. A fixture is recognised by its name, gives it in every result, and is for policies with development roots only. @throws ModelRefused when the model is missing or altered */
export async function load({ modelFile = modelPath() }: { modelFile?: string } = {}): Promise<Workload> {
  if (modelFile.endsWith('.fixture.json')) return await (await import('../detectors/fixture.ts')).loadFixture(modelFile);
  const [{ decode }, { INPUT_SIZE, loadDetector }, { clip }] = await Promise.all([import('./decode.ts'), import('../detectors/engine.ts'), import('../detectors/postprocess.ts')]);
  const detector = await loadDetector({ path: modelFile });
  const model = { name: DEFAULT_MODEL.name, digest: DEFAULT_MODEL.digest, threshold: DEFAULT_MODEL.threshold };

  async function work(bytes: Uint8Array): Promise<CountResult> {
    const { rgb, width, height, content } = await decode(bytes, INPUT_SIZE);
    const found = await detector.detect(rgb);
    rgb.fill(0);
    const boxes = found.map((box) => clip(box, content)).map(({ x, y, w, h, score }) => ({
      x: rounded(((x - content.x) / content.w) * width, 0),
      y: rounded(((y - content.y) / content.h) * height, 0),
      w: rounded((w / content.w) * width, 0),
      h: rounded((h / content.h) * height, 0),
      score: rounded(score, 3),
    }));
    return { count: boxes.length, method: METHOD, model, boxes, image: { width, height } };
  }
  return { model, atOnce: 2, work };
}
