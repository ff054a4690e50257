import type { FastifyRequest } from 'fastify';

const perMinute = (max: number) => ({ max, timeWindow: '1 minute' });

/**
 * How many requests one network address may make. An office, or a server that signs its users in, is one address, so
 * these only keep somebody from wearing the machine out; guessing is stopped by counting failures (throttle.ts).
 */
export const LIMITS = {
  signIn: perMinute(1000),
  signUp: {
    ...perMinute(100),
    allowList: ({ caller }: FastifyRequest) => caller.claims.role === 'project_admin',
  },
  refresh: perMinute(1000),
  adminSignIn: perMinute(30),
} as const;
