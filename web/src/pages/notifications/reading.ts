import type { QueryClient } from '@tanstack/svelte-query';
import { api } from '../../lib/api';

/** Every list of messages is asked for anew: the bell, the page, and the count. */
const again = (client: QueryClient) => void client.invalidateQueries({ queryKey: ['/api/notifications'] });

export async function markRead(client: QueryClient, id: string): Promise<void> {
  await api.post(`/api/notifications/${encodeURIComponent(id)}/read`);
  again(client);
}

export async function markAllRead(client: QueryClient): Promise<number> {
  const { read } = await api.post<{ read: number }>('/api/notifications/read-all');
  again(client);
  return read;
}
