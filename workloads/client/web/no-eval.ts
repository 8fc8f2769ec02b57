/** The schema library would try to compile its parsers with `new Function`, which the content security policy refuses. Imported before any schema. */
import { config } from 'zod';

config({ jitless: true });
