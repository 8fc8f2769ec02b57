import { useState } from 'preact/hooks';
import { applyTheme, readTheme, THEMES } from '../theme.ts';
import { Mark } from './icons.tsx';

export function Header() {
  const [theme, setTheme] = useState(readTheme());
  return (
    <header class="top">
      <div class="brand"><Mark /><div><h1>Confidential Cat Counter</h1><p class="tagline">Counts cats in pictures that only you and attested code ever see, and lets you check each claim.</p></div></div>
      <fieldset class="theme">
        <legend class="unseen">Colours</legend>
        {THEMES.map((t) => (
          <label key={t}><input type="radio" name="theme" value={t} checked={theme === t} onChange={() => { setTheme(t); applyTheme(t); }} /><span>{t}</span></label>
        ))}
      </fieldset>
    </header>
  );
}
