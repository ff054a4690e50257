import { AppError } from '#platform/errors.ts';

/** Of all statements together. Each one has the same limit in the database, which SQL can raise for itself. */
const DEADLINE_MS = 30_000;

/** Does work on SQL of a caller's own, which ends when the time is up or the caller has gone. */
export async function withDeadline<Result>(
  left: AbortSignal,
  work: (signal: AbortSignal) => Promise<Result>,
  deadlineMs = DEADLINE_MS,
): Promise<Result> {
  const ending = new AbortController();
  const leave = () => ending.abort(left.reason);
  left.addEventListener('abort', leave, { once: true });
  if (left.aborted) leave();
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    ending.abort();
  }, deadlineMs);
  try {
    return await work(ending.signal);
  } catch (error) {
    if (!isLate) throw error;
    throw new AppError(
      'DATABASE_VALIDATION_ERROR',
      `The SQL took longer than ${deadlineMs / 1000} seconds and was ended`,
      {
        cause: error,
        nextActions:
          'Do it in smaller steps, look for a missing index with explain, or build an index CONCURRENTLY by itself.',
      },
    );
  } finally {
    clearTimeout(timer);
    left.removeEventListener('abort', leave);
  }
}
