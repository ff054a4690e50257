import { z } from 'zod';

/** What an app that sends somebody here says: where they go afterwards, and what it will prove itself with. */
export const FlowSchema = z.object({
  redirect_to: z.string().max(2048).optional(),
  /** https://www.rfc-editor.org/rfc/rfc7636#section-4.2, S256 */
  code_challenge: z
    .string()
    .regex(/^[\w-]{43}$/, 'must be the SHA-256 of the verifier, in base64url')
    .optional(),
  /** Fills in the field. */
  email: z.string().max(254).optional(),
  /** What the page before this one did. */
  notice: z.enum(['sent', 'verified', 'reset']).optional(),
  /** From the link of a mail. */
  token: z.string().max(200).optional(),
  insforge_status: z.string().max(40).optional(),
});
export type Flow = z.infer<typeof FlowSchema>;

type Page = 'sign-in' | 'sign-up' | 'verify' | 'reset';

/** The address of another page of the same flow. */
export function pageUrl(page: Page | `with/${string}`, { redirect_to, code_challenge }: Flow, more: Flow = {}): string {
  const parameters = Object.entries({ redirect_to, code_challenge, ...more });
  const query = new URLSearchParams(parameters.filter((entry): entry is [string, string] => entry[1] !== undefined));
  return `/auth/${page}${query.size > 0 ? `?${query}` : ''}`;
}
