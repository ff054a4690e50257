import type { FastifyRequest } from 'fastify';
import { addressOf } from '#platform/http/caller.ts';
import type { Device } from '../sessions.ts';

/** Where a request comes from, as far as it says. */
export function deviceOf(request: FastifyRequest): Device {
  return { userAgent: request.headers['user-agent'], address: addressOf(request) };
}
