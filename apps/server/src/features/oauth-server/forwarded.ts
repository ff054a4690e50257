import type { FastifyRequest } from 'fastify';

/** Replaces what a request says of where it comes from by what this server believes of it, for the provider to read. */
export async function sayWhoAsks({ raw, ip, protocol, host }: FastifyRequest): Promise<void> {
  Object.assign(raw.headers, { 'x-forwarded-for': ip, 'x-forwarded-proto': protocol, 'x-forwarded-host': host });
}
