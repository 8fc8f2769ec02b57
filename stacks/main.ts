/** Every stack: environment x cloud, in one synthesis. Run by cdktf (cdktf.json); stack names are frozen, states hang on them. */
import { App } from 'cdktf';
import { synthesizeInto } from './all.ts';

const app = new App();
synthesizeInto(app);
app.synth();
