/** The local picture with the counter's boxes over it. Coordinates are pixels of the upright picture, as browsers show it too. */
import type { CountResult } from '../../../protocol/messages.ts';

export function PictureWithBoxes({ url, name, result }: { url: string; name: string; result?: CountResult }) {
  const image = result?.image;
  const boxes = image ? result.boxes ?? [] : [];
  const unit = image ? Math.max(image.width, image.height) / 100 : 1;
  return (
    <div class="picture">
      <img src={url} alt={`Local preview of ${name}`} decoding="async" />
      {image && boxes.length > 0 && (
        <svg class="boxes" viewBox={`0 0 ${image.width} ${image.height}`} preserveAspectRatio="xMidYMid meet" role="img" aria-label={`${boxes.length} boxes around what was counted`}>
          {boxes.map((box, i) => {
            const score = box.score === undefined ? '' : `${Math.round(box.score * 100)} %`;
            // A tag wider than its box would cover its neighbour's.
            const tag = score !== '' && box.w > unit * 12 ? `${i + 1} · ${score}` : `${i + 1}`;
            return (
            <g class="box" key={i}>
              <title>{score === '' ? `cat ${i + 1}` : `cat ${i + 1}, score ${score}`}</title>
              <rect class="box-under" x={box.x} y={box.y} width={box.w} height={box.h} rx={unit * 0.6} />
              <rect class="box-line" x={box.x} y={box.y} width={box.w} height={box.h} rx={unit * 0.6} />
              <g transform={`translate(${box.x} ${box.y})`}>
                <rect class="box-tag" width={unit * (1.6 + 1.55 * tag.length)} height={unit * 4.4} rx={unit * 0.6} />
                <text class="box-text" x={unit * 1.1} y={unit * 3.200} font-size={unit * 3}>{tag}</text>
              </g>
            </g>
            );
          })}
        </svg>
      )}
    </div>
  );
}
