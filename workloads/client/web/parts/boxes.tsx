/** The local picture with the counter's boxes over it. Coordinates are pixels of the upright picture, as browsers show it too. */
import { useState } from 'preact/hooks';
import type { CountResult } from '../../../protocol/messages.ts';

export function PictureWithBoxes({ url, name, result }: { url: string; name: string; result?: CountResult }) {
  const [broken, setBroken] = useState(false);
  const image = result?.image;
  const boxes = image ? result.boxes ?? [] : [];
  const unit = image ? Math.max(image.width, image.height) / 100 : 1;
  return (
    <div class="picture">
      {broken ? <p class="no-preview">No preview</p> : <img src={url} alt={`Local preview of ${name}`} decoding="async" onError={() => setBroken(true)} />}
      {image && boxes.length > 0 && (
        <svg class="boxes" viewBox={`0 0 ${image.width} ${image.height}`} preserveAspectRatio="xMidYMid meet" role="img" aria-label={`${boxes.length} boxes around what was counted`}>
          {boxes.map((box, i) => <Box box={box} index={i} unit={unit} key={i} />)}
        </svg>
      )}
    </div>
  );
}

type BoxOf = NonNullable<CountResult['boxes']>[number];

function Box({ box, index, unit }: { box: BoxOf; index: number; unit: number }) {
  const score = box.score === undefined ? '' : `${Math.round(box.score * 100)} %`;
  // A tag wider than its box would cover its neighbour's.
  const tag = score !== '' && box.w > unit * 12 ? `${index + 1} · ${score}` : `${index + 1}`;
  const corner = unit * 0.6;
  return (
    <g class="box">
      <title>{score === '' ? `cat ${index + 1}` : `cat ${index + 1}, score ${score}`}</title>
      <rect class="box-under" x={box.x} y={box.y} width={box.w} height={box.h} rx={corner} />
      <rect class="box-line" x={box.x} y={box.y} width={box.w} height={box.h} rx={corner} />
      <g transform={`translate(${box.x} ${box.y})`}>
        <rect class="box-tag" width={unit * (1.6 + 1.55 * tag.length)} height={unit * 4.4} rx={corner} />
        <text class="box-text" x={unit * 1.1} y={unit * 3.2} font-size={unit * 3}>{tag}</text>
      </g>
    </g>
  );
}
