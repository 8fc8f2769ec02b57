/** One picture, from file to boxes, against the bare call of the runtime on the same input. */
import { createSandbox } from '../../workloads/counter/sandbox.ts';
import { decode } from '../../workloads/counter/decode.ts';
import { load as loadWorkload } from '../../workloads/counter/workload.ts';
import { INPUT_SIZE, loadDetector, toInput } from '../../workloads/detectors/engine.ts';
import { modelPath } from '../../workloads/detectors/pinned.ts';
import { load } from './machine.ts';
import { benchPicture, CATS, SIZE } from './picture.ts';
import { atMost, ms, ratio, type Section } from './section.ts';
import { interleaved } from './stats.ts';

export async function counting(rounds: number): Promise<Section> {
  const [picture, workload, detector, sandbox] = await Promise.all([benchPicture(), loadWorkload(), loadDetector({ path: modelPath() }), createSandbox()]);
  try {
    const { rgb } = await decode(picture, INPUT_SIZE);
    const input = toInput(rgb);
    const found = await workload.work(picture);
    if (found.count !== CATS) throw new Error(`counted ${found.count} cats in a picture of ${CATS}`);
    const times = await interleaved(rounds, {
      'onnxruntime alone': () => detector.run(input),
      'decode and resize': () => decode(picture, INPUT_SIZE),
      'workload.work': () => workload.work(picture),
      // The sandbox takes its bytes away: a copy each.
      'sandbox.run': () => sandbox.run(new Uint8Array(picture)),
    });
    const bare = times['onnxruntime alone'];
    const compared = (name: 'workload.work' | 'sandbox.run') => times[name].median / bare.median;
    return {
      title: 'Counting',
      about: [
        `Milliseconds for one picture of ${SIZE.width} x ${SIZE.height} (JPEG, ${picture.length} bytes), one thread. "onnxruntime alone" is InferenceSession.run on the prepared input;`,
        '"workload.work" has container checks, decoding, resizing, the call and the boxes in it; "sandbox.run" is what a counter does: the same in its child process, with the way there and back.',
      ],
      head: ['what', 'ms, minimum', 'ms, median', 'ms, p99', 'of onnxruntime alone (median)'],
      rows: Object.entries(times).map(([name, t]) => [name, ms(t.min), ms(t.median), ms(t.p99), ratio(t.median / bare.median)]),
      goals: [atMost('workload.work / onnxruntime alone', compared('workload.work'), 1.5), atMost('sandbox.run / onnxruntime alone', compared('sandbox.run'), 1.5)],
      load: load(),
    };
  } finally {
    await Promise.all([sandbox.close(), detector.close()]);
  }
}
