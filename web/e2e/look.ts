import type { Page, TestInfo } from '@playwright/test';
import { COLOUR_RULES, faultsOf } from './axe';
import { expect } from './fixtures';

const NARROW = 360;
const WIDE = 1440;

/** How far the page could be scrolled sideways, in pixels. */
export const overflow = (page: Page) =>
  page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);

/**
 * The page as it stands has no finding of axe in either theme. Every rule in the light one; the dark theme changes
 * colours and nothing else, so the rules of colour follow there.
 */
export async function expectNoFaults(page: Page, name = 'the page'): Promise<void> {
  for (const [theme, rules] of [['dark', COLOUR_RULES], ['light', undefined]] as const) {
    await page.emulateMedia({ colorScheme: theme });
    await expect(page.locator('html')).toHaveAttribute('data-theme', theme);
    expect(await faultsOf(page, rules), `${name} in the ${theme} theme`).toEqual([]);
  }
}

/** Pictures for somebody who wants to look too: PICTURES=1 leaves them beside the results. */
async function picture(page: Page, info: TestInfo, name: string): Promise<void> {
  if (!process.env.PICTURES) return;
  for (const theme of ['dark', 'light'] as const) {
    await page.emulateMedia({ colorScheme: theme });
    await page.screenshot({ fullPage: true, path: info.outputPath(`${name}-${theme}.png`) });
  }
}

/** Looks at the page as it stands in both themes, narrow and wide: no finding of axe, no scrolling sideways. */
export async function look(page: Page, info: TestInfo, name: string): Promise<void> {
  for (const width of [NARROW, WIDE]) {
    await page.setViewportSize({ width, height: 900 });
    await picture(page, info, `${name}-${width}`);
    expect(await overflow(page), `${name}, ${width} px`).toBe(0);
    await expectNoFaults(page, `${name}, ${width} px`);
  }
}
