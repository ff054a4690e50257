import type { FastifyRequest } from 'fastify';

const perMinute = (max: number) => ({ max, timeWindow: '1 minute' });

/**
 * How many requests one address may make. An office, or a server that signs its users in, is one address,
 * so these only keep somebody from wearing the machine out; guessing passwords is stopped by account.
 */
export const LIMITS = {
  signIn: perMinute(100),
  signUp: {
    ...perMinute(100),
    allowList: ({ caller }: FastifyRequest) => caller.claims.role === 'project_admin',
  },
  refresh: perMinute(1000),
  adminSignIn: perMinute(30),
} as const;
