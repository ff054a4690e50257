/** Plans a call: chooses among overloaded functions by the names of the arguments. */
import { RecordsError } from '../errors.ts';
import type { ArgumentIntent, Intent } from '../intent.ts';
import { type Argument, findRoutines, type Routine, type Schema } from '../schema/types.ts';
import { closest } from './similar.ts';
import type { CallArguments, CallPlan } from './types.ts';

/** Types of a single unnamed argument that take a whole body, by the media type of the body. */
const BODY_TYPES: Readonly<Record<string, readonly string[]>> = {
  'application/json': ['json', 'jsonb'],
  'application/octet-stream': ['bytea'],
  'text/plain': ['text'],
  'text/xml': ['xml'],
};

export function planCall(schema: Schema, intent: Intent): CallPlan {
  const candidates = findRoutines(schema, intent.schema, intent.name);
  const { payload } = intent;
  if (intent.preferences.params === 'single-object' && payload) {
    const routine = choose(schema, intent, candidates.filter(takesOneJson));
    const [argument] = routine.arguments;
    if (argument) return { routine, arguments: { kind: 'body', argument, value: intent.payloadValue } };
  }
  const names = givenNames(intent);
  const named = payload?.kind === 'raw' ? [] : candidates.filter((routine) => accepts(routine, names));
  const bodyTypes = BODY_TYPES[payload?.type ?? ''] ?? [];
  const found = named.length > 0 ? named : candidates.filter((routine) => takesBody(routine, bodyTypes));
  const routine = choose(schema, intent, found);
  return {
    routine,
    arguments: named.length > 0 ? namedArguments(routine, intent, names) : bodyArgument(routine, intent),
  };
}

function givenNames({ payload, columns, args }: Intent): readonly string[] {
  if (columns) return columns;
  return payload ? payload.keys : args.map(({ name }) => name);
}

/** True when all names are arguments of the function, and none that it needs is missing. */
function accepts({ arguments: args }: Routine, names: readonly string[]): boolean {
  if (args.length === 1 && args[0]?.name === '') return false;
  return (
    names.every((name) => args.some((argument) => argument.name === name)) &&
    args.every(({ name, isRequired }) => !isRequired || names.includes(name))
  );
}

function takesBody({ arguments: args }: Routine, types: readonly string[]): boolean {
  return args.length === 1 && args[0]?.name === '' && types.includes(args[0].type.short);
}

function takesOneJson({ arguments: args }: Routine): boolean {
  return args.length === 1 && /^jsonb?$/.test(args[0]?.type.short ?? '');
}

function choose(schema: Schema, intent: Intent, found: readonly Routine[]): Routine {
  const [first] = found;
  if (!first) throw notFound(schema, intent);
  if (found.length === 1) return first;
  const signatures = found.map(
    (routine) => `${routine.schema}.${routine.name}(${routine.arguments.map(signature).join(', ')})`,
  );
  throw new RecordsError('PGRST203', `Could not choose the best candidate function between: ${signatures.join(', ')}`, {
    hint: 'Try renaming the parameters or the function itself in the database so function overloading can be resolved',
  });
}

function signature({ name, type }: Argument): string {
  return `${name} => ${type.name}`;
}

function namedArguments(routine: Routine, intent: Intent, names: readonly string[]): CallArguments {
  const { payload } = intent;
  const used = routine.arguments.filter(({ name }) => names.includes(name));
  if (used.length === 0) return { kind: 'none' };
  if (payload && !payload.repeated) {
    return { kind: 'json', arguments: used, value: intent.payloadValue, isList: payload.kind === 'array' };
  }
  const texts = used.map((argument) => ({ argument, slots: slotsOf(argument, intent.args) }));
  return { kind: 'texts', texts };
}

/** Only a variadic argument takes more than one text; of others the last one counts. */
function slotsOf({ name, isVariadic }: Argument, args: readonly ArgumentIntent[]): readonly number[] {
  const values = args.find((candidate) => candidate.name === name)?.values ?? [];
  return isVariadic ? values : values.slice(-1);
}

function bodyArgument(routine: Routine, { payloadValue }: Intent): CallArguments {
  const [argument] = routine.arguments;
  return argument ? { kind: 'body', argument, value: payloadValue } : { kind: 'none' };
}

function notFound(schema: Schema, intent: Intent): RecordsError {
  const { schema: schemaName, name, payload, preferences } = intent;
  const qualified = `${schemaName}.${name}`;
  const isJson = payload?.type === 'application/json';
  if (payload && preferences.params === 'single-object') {
    return new RecordsError('PGRST202', `Could not find the function ${qualified} in the schema cache`, {
      details: `Searched for the function ${qualified} with a single json/jsonb parameter, but no matches were found in the schema cache.`,
    });
  }
  if (payload?.kind === 'raw' && !isJson) {
    const type = BODY_TYPES[payload.type]?.join('/');
    return new RecordsError('PGRST202', `Could not find the function ${qualified} in the schema cache`, {
      details: `Searched for the function ${qualified} with a single unnamed ${type} parameter, but no matches were found in the schema cache.`,
    });
  }
  const names = [...givenNames(intent)].sort();
  const list = names.length === 0 ? ' without parameters' : `(${names.join(', ')})`;
  const searched =
    names.length === 0 ? 'without parameters' : `with parameter${names.length > 1 ? 's' : ''} ${names.join(', ')}`;
  const orBody = isJson ? ' or with a single unnamed json/jsonb parameter' : '';
  return new RecordsError('PGRST202', `Could not find the function ${qualified}${list} in the schema cache`, {
    details: `Searched for the function ${qualified} ${searched}${orBody}, but no matches were found in the schema cache.`,
    hint: suggestion(schema, schemaName, name, names),
  });
}

/** A function that is called almost like that, or the one of that name whose arguments are almost these. */
function suggestion(schema: Schema, schemaName: string, name: string, given: readonly string[]): string | undefined {
  const routines = schema.routines.get(schemaName);
  const overloads = routines?.get(name);
  const meant = overloads ? name + argumentsLike(given, overloads) : closest(name, [...(routines?.keys() ?? [])]);
  return meant === undefined || meant === name
    ? undefined
    : `Perhaps you meant to call the function ${schemaName}.${meant}`;
}

/** The argument list that has most of the given names, or ones like them; empty when none has any. */
function argumentsLike(given: readonly string[], overloads: readonly Routine[]): string {
  const lists = overloads.map((routine) =>
    routine.arguments.flatMap((argument) => (argument.name === '' ? [] : [argument.name])).sort(),
  );
  const likeness = (list: readonly string[]) =>
    given.reduce((sum, name) => sum + (list.includes(name) ? 2 : closest(name, list) === undefined ? 0 : 1), 0);
  const [best = []] = lists.sort((a, b) => likeness(b) - likeness(a) || a.length - b.length);
  return likeness(best) > 0 ? `(${best.join(', ')})` : '';
}
