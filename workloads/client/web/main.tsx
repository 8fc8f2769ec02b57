import './no-eval.ts';
import { render } from 'preact';
import { App } from './app.tsx';
import { applyTheme, readTheme } from './theme.ts';

applyTheme(readTheme());
const root = document.getElementById('page');
if (root) render(<App />, root);
