import { svelte } from '@sveltejs/vite-plugin-svelte';
import tailwindcss from '@tailwindcss/vite';
import { svelteTesting } from '@testing-library/svelte/vite';
import { defineConfig } from 'vitest/config';

// In development the pages come from Vite and the API from a running server.
const api = process.env.TENURE_URL ?? 'http://127.0.0.1:7070';

export default defineConfig({
  plugins: [tailwindcss(), svelte(), svelteTesting()],
  server: { proxy: { '/api': { target: api, changeOrigin: true } } },
  build: {
    target: 'es2022',
    assetsInlineLimit: 0, // the policy allows no data: scripts or fonts
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
  test: {
    environment: 'happy-dom',
    include: ['tests/**/*.test.ts'],
    setupFiles: ['tests/setup.ts'],
    restoreMocks: true,
  },
});
