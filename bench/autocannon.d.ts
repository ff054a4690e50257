/** What bench/load.ts uses of it. */
declare module 'autocannon' {
  interface Request {
    method: string;
    path?: string;
    headers?: Record<string, string>;
    body?: string;
  }
  interface Client {
    setRequests(requests: Request[]): void;
  }
  interface Result {
    requests: { average: number };
    latency: { p50: number; p99: number; max: number };
    non2xx: number;
    errors: number;
    timeouts: number;
  }
  // biome-ignore lint/style/noDefaultExport: it has one
  export default function autocannon(options: {
    url: string;
    connections: number;
    duration: number;
    requests: Request[];
    setupClient?: (client: Client) => void;
  }): Promise<Result>;
}
