/** Light, dark, or what the system says. */
export const THEMES = ['system', 'light', 'dark'] as const;
export type Theme = (typeof THEMES)[number];
const STORAGE = 'ccc.theme';

export function readTheme(): Theme {
  const stored = localStorage.getItem(STORAGE);
  return THEMES.find((t) => t === stored) ?? 'system';
}

export function applyTheme(theme: Theme): void {
  localStorage.setItem(STORAGE, theme);
  if (theme === 'system') delete document.documentElement.dataset['theme'];
  else document.documentElement.dataset['theme'] = theme;
}
