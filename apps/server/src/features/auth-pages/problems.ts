import { z } from 'zod';
import { toAppError } from '#platform/errors.ts';

/** What people are told of an error that they can do something about. */
export interface Problem {
  text: string;
  /** Where it is only a matter of time. */
  retryAfterSeconds?: number;
}

/** @throws what is not their fault */
export function problemOf(error: unknown): Problem {
  if (error instanceof z.ZodError) return { text: error.issues[0]?.message ?? 'Invalid input' };
  const { status, code, message, details } = toAppError(error);
  if (status >= 500) throw error;
  const seconds = details?.retryAfterSeconds;
  // Programs are told the moment; people would have to work out the time zone.
  if (code === 'TOO_MANY_REQUESTS' && typeof seconds === 'number') {
    return { text: `Please wait ${spanOf(seconds)} and try again`, retryAfterSeconds: seconds };
  }
  return { text: message.replace(/^[\w.]+: /, (field) => `${field[0]?.toUpperCase()}${field.slice(1, -2)} `) };
}

function spanOf(seconds: number): string {
  const [count, unit] = seconds < 90 ? [Math.ceil(seconds), 'second'] : [Math.ceil(seconds / 60), 'minute'];
  return `${count} ${unit}${count === 1 ? '' : 's'}`;
}
