import type { Zone } from './time';

export type Theme = 'light' | 'dark' | 'system';

function read(key: string): string | null {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

function write(key: string, value: string): void {
  try {
    localStorage.setItem(key, value);
  } catch {
    // Without storage the choice lasts as long as the page.
  }
}

const themes: readonly string[] = ['light', 'dark', 'system'];

class Prefs {
  #theme = $state<Theme>('system');
  #zone = $state<Zone>('local');

  constructor() {
    const theme = read('tenure.theme');
    if (theme && themes.includes(theme)) this.#theme = theme as Theme;
    if (read('tenure.zone') === 'utc') this.#zone = 'utc';
  }

  get theme(): Theme {
    return this.#theme;
  }
  set theme(value: Theme) {
    this.#theme = value;
    write('tenure.theme', value);
    this.applyTheme();
  }

  get zone(): Zone {
    return this.#zone;
  }
  set zone(value: Zone) {
    this.#zone = value;
    write('tenure.zone', value);
  }

  applyTheme(): void {
    const dark = this.#theme === 'dark' || (this.#theme === 'system' && matchMedia('(prefers-color-scheme: dark)').matches);
    document.documentElement.dataset.theme = dark ? 'dark' : 'light';
  }

  /** Follows the system while the choice is "system". */
  watchSystem(): () => void {
    const media = matchMedia('(prefers-color-scheme: dark)');
    const follow = () => this.applyTheme();
    media.addEventListener('change', follow);
    return () => media.removeEventListener('change', follow);
  }
}

export const prefs = new Prefs();
