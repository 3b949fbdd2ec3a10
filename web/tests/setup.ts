import { afterEach, vi } from 'vitest';

// The test environment has no media queries; the pages only ask for the system's theme.
vi.stubGlobal('matchMedia', () => ({ matches: false, addEventListener: () => {}, removeEventListener: () => {} }));

afterEach(() => {
  window.history.replaceState(null, '', '/');
});
