import type { SecondFactor } from '@insforge/contract/factors.ts';
import type { Proof } from './admission.ts';
import { readChallenge, spendChallenge } from './challenges.ts';
import { checkSecondFactor, type FactorParts } from './factors.ts';
import { readUser } from './users.ts';

/**
 * Proves with the second factor who somebody is that a sign-in was waiting for. A wrong code leaves the challenge as it
 * is; how many may be tried is counted by user. The challenge is spent by coming in: whatever ends the user's sessions
 * meanwhile has taken it away.
 * @throws AppError INVALID_INPUT, TOO_MANY_REQUESTS
 */
export async function checkAnswer(parts: FactorParts, { challenge, code }: SecondFactor): Promise<Proof> {
  const { system } = parts.db;
  const userId = await readChallenge(system, challenge);
  await checkSecondFactor(parts, userId, code);
  return { user: await readUser(system, userId), aal: 'aal2', hold: (tx) => spendChallenge(tx, challenge) };
}
