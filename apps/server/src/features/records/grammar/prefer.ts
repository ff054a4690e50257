/** The Prefer header (RFC 7240): what clients may ask for and what was granted. */
import { memoize } from '../memo.ts';

/** Preferences that take one of a list of values. */
const CHOICES = {
  resolution: ['merge-duplicates', 'ignore-duplicates'],
  missing: ['default', 'null'],
  return: ['representation', 'headers-only', 'minimal'],
  params: ['single-object'],
  count: ['exact', 'planned', 'estimated'],
  tx: ['commit', 'rollback'],
  handling: ['strict', 'lenient'],
} as const;

type Choices = { readonly [Name in keyof typeof CHOICES]: (typeof CHOICES)[Name][number] | undefined };

export interface Preferences extends Choices {
  readonly timezone: string | undefined;
  readonly maxAffected: number | undefined;
  /** What was not understood; an error under `handling=strict`. */
  readonly invalid: readonly string[];
  /** All that was understood, in a fixed order: part of the shape of a request. */
  readonly text: string;
}

export type PreferenceName = keyof typeof CHOICES;

/** Parses the header; of several values for one preference the first counts. */
export const parsePrefer: (header: string) => Preferences = memoize((header) => {
  const found: Record<string, string> = {};
  const invalid: string[] = [];
  for (const item of header.split(',').map((part) => part.trim())) {
    if (item === '') continue;
    const at = item.indexOf('=');
    const name = item.slice(0, at);
    const value = item.slice(at + 1).trim();
    if (at > 0 && isKnown(name, value)) found[name] ??= value;
    else invalid.push(item);
  }
  const choices = Object.fromEntries(Object.keys(CHOICES).map((name) => [name, found[name]]));
  const maxAffected = found['max-affected'];
  return {
    ...(choices as unknown as Choices),
    timezone: found.timezone,
    maxAffected: maxAffected === undefined ? undefined : Number(maxAffected),
    invalid,
    text: Object.keys(CHOICES)
      .map((name) => found[name] ?? '')
      .concat(maxAffected ?? '')
      .join(),
  };
});

function isKnown(name: string, value: string): boolean {
  if (name === 'timezone') return value !== '';
  if (name === 'max-affected') return /^\d{1,15}$/.test(value);
  if (!Object.hasOwn(CHOICES, name)) return false;
  return (CHOICES[name as PreferenceName] as readonly string[]).includes(value);
}

/**
 * The value of Preference-Applied: those of `names` that the client asked for, in the order of the list.
 * `max-affected` counts under `handling=strict` only.
 */
export function appliedPreferences(
  preferences: Preferences,
  names: readonly (PreferenceName | 'timezone' | 'max-affected')[],
): string {
  const applied = names.flatMap((name) => {
    if (name === 'max-affected') {
      const isUsed = preferences.handling === 'strict' && preferences.maxAffected !== undefined;
      return isUsed ? [`max-affected=${preferences.maxAffected}`] : [];
    }
    const value = preferences[name];
    return value === undefined ? [] : [`${name}=${value}`];
  });
  return applied.join(', ');
}
