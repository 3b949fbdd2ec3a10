const BROWSERS: [RegExp, string][] = [
  [/Edg\//, 'Edge'],
  [/OPR\//, 'Opera'],
  [/Firefox\//, 'Firefox'],
  [/Chrome\//, 'Chrome'],
  [/Safari\//, 'Safari'],
];
const SYSTEMS: [RegExp, string][] = [
  [/Android/, 'Android'],
  [/iPhone|iPad/, 'iOS'],
  [/Windows/, 'Windows'],
  [/Mac OS X/, 'macOS'],
  [/Linux/, 'Linux'],
];

/** What a browser is called by what it says of itself: most say that they are some of the others as well. */
export function browserName(device: string | null): string {
  if (!device) return 'Unknown';
  const find = (names: [RegExp, string][]) => names.find(([pattern]) => pattern.test(device))?.[1];
  const browser = find(BROWSERS);
  const system = find(SYSTEMS);
  if (!browser) return device.slice(0, 40);
  return system ? `${browser} on ${system}` : browser;
}
