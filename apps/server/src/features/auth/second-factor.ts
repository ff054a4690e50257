import type { SecondFactor } from '@insforge/contract/factors.ts';
import { readChallenge, spendChallenge } from './challenges.ts';
import { checkSecondFactor, type FactorParts } from './factors.ts';
import type { Device } from './sessions.ts';
import { type Auth, startUserSession, type UserSession } from './sign-in.ts';
import { readUser } from './users.ts';

/**
 * Ends a sign-in that was waiting for the second factor. A wrong code leaves the challenge as it is; how many may
 * be tried is counted by user.
 * @throws AppError INVALID_INPUT, TOO_MANY_REQUESTS, AUTH_USER_BANNED
 */
export async function answerChallenge(
  auth: Auth & FactorParts,
  { challenge, code }: SecondFactor,
  device: Device,
): Promise<UserSession> {
  const { db } = auth;
  const userId = await readChallenge(db.system, challenge);
  await checkSecondFactor(auth, userId, code);
  await spendChallenge(db.system, challenge);
  return startUserSession(auth, await readUser(db.system, userId), device, 'aal2');
}
