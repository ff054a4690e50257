import type { User } from '@insforge/contract/auth.ts';
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
  answer: SecondFactor,
  device: Device,
): Promise<UserSession> {
  return startUserSession(auth, await checkAnswer(auth, answer), device, 'aal2');
}

/** The user who has now shown both factors. @throws AppError INVALID_INPUT, TOO_MANY_REQUESTS */
export async function checkAnswer(parts: FactorParts, { challenge, code }: SecondFactor): Promise<User> {
  const { system } = parts.db;
  const userId = await readChallenge(system, challenge);
  await checkSecondFactor(parts, userId, code);
  await spendChallenge(system, challenge);
  return readUser(system, userId);
}
