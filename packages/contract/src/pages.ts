import { z } from 'zod';

/** The length of a page. What is too large or small is clamped, as clients expect; one without a value is none. */
export const pageLimit = ({ usual, max }: { usual: number; max: number }) =>
  z.preprocess(
    (text) => (text === '' ? undefined : text),
    z.coerce
      .number()
      .int()
      .default(usual)
      .transform((limit) => Math.min(max, Math.max(1, limit))),
  );
