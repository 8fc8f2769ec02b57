/** To be imported before cdktf: loads it as the synthesis itself does. */
import { loadLightly } from '../../stacks/loading.ts';

loadLightly();
