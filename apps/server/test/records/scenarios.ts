import { expect } from 'vitest';
import type { Api, Headers, Who } from './start.ts';

/** A read and what it answers: a body, or a status with (part of) a body. */
export interface Read {
  path: string;
  who?: Who;
  headers?: Headers;
  body?: unknown;
  status?: number;
  /** Headers of the answer that must be so. */
  has?: Record<string, unknown>;
}

/** Sends the reads one after the other and reports every one that differs. */
export async function expectReads(api: Api, reads: readonly Read[]): Promise<void> {
  for (const { path, who = 'alice', headers, body, status = 200, has } of reads) {
    const reply = await api.as(who).get(path, headers);
    const said = { status: reply.status, body: body === undefined ? undefined : reply.body };
    const isObject = typeof body === 'object' && body !== null && !Array.isArray(body);
    expect.soft(said, path).toEqual({ status, body: isObject ? expect.objectContaining(body) : body });
    if (has) expect.soft(reply.headers, path).toMatchObject(has);
  }
}
