import { QueryClient } from '@tanstack/svelte-query';
import { asProblem } from './api';

/** How often a page on show asks for news. */
export const POLL_MS = 5000;

export const queryClient = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 2000,
      retry: (failures, error) => asProblem(error).transient && failures < 2,
      retryDelay: (failures) => 500 * 2 ** failures,
      // Asks only while the tab is visible; a tab that comes back asks at once.
      refetchInterval: POLL_MS,
      refetchIntervalInBackground: false,
      refetchOnWindowFocus: true,
    },
  },
});
