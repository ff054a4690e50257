/** Renders function calls. */
import { type Sql, sql } from '#platform/db/sql.ts';
import type { CallPlan } from '../plan/types.ts';
import { type Argument, SCALAR } from '../schema/types.ts';
import { qualifiedName } from './qualified-name.ts';

/** A call as a FROM item. Of a function that gives values, its one column is SCALAR. */
export function renderCall(call: CallPlan, alias: Sql): Sql {
  const { prelude, list } = renderArguments(call);
  const { routine } = call;
  const invocation = sql`${qualifiedName(routine)}(${list})`;
  if (routine.returns.kind === 'rows')
    return prelude ? sql`${prelude}, lateral ${invocation} ${alias}` : sql`${invocation} ${alias}`;
  const rows = sql`select ${invocation} as ${sql.id(SCALAR)}`;
  return prelude ? sql`(${rows} from ${prelude}) ${alias}` : sql`(${rows}) ${alias}`;
}

function renderArguments({ arguments: args }: CallPlan): { prelude?: Sql; list: Sql } {
  switch (args.kind) {
    case 'none':
      return { list: sql.raw('') };
    case 'body': {
      const name = args.argument.name === '' ? sql.raw('') : sql`${sql.id(args.argument.name)} := `;
      return { list: sql`${name}${args.value}::${typeOf(args.argument)}` };
    }
    case 'texts':
      return { list: sql.join(args.texts.map(({ argument, slots }) => named(argument, renderTexts(argument, slots)))) };
    case 'json': {
      const columns = args.arguments.map((argument) => sql`${sql.id(argument.name)} ${typeOf(argument)}`);
      return {
        prelude: sql`json_to_record(${args.value}::json${sql.raw(args.isList ? ' -> 0' : '')}) as "arguments" (${sql.join(columns)})`,
        list: sql.join(args.arguments.map((argument) => named(argument, sql`"arguments".${sql.id(argument.name)}`))),
      };
    }
  }
}

function named({ name, isVariadic }: Argument, value: Sql): Sql {
  return sql`${sql.raw(isVariadic ? 'variadic ' : '')}${sql.id(name)} := ${value}`;
}

function renderTexts(argument: Argument, slots: readonly unknown[]): Sql {
  const type = typeOf(argument);
  if (!argument.isVariadic) return sql`${slots[0]}::${type}`;
  return sql`array[${sql.join(slots.map((slot) => sql`${slot}`))}]::${type}`;
}

/** Values of pseudo-types such as anyelement can only come as text. */
function typeOf({ type }: Argument): Sql {
  return sql.raw(type.kind === 'pseudo' ? 'text' : type.name);
}
