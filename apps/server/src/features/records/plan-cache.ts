/** Compiled requests by their shape. Lives in the schema it was compiled against and dies with it. */
import type { CompiledRequest } from './query.ts';

export interface PlanCache {
  get(shape: string): CompiledRequest | undefined;
  set(shape: string, compiled: CompiledRequest): void;
  readonly stats: { hits: number; misses: number; size: number };
}

/** Enough for every query an application sends; a stream of ever new shapes must not fill the memory. */
const MAX_PLANS = 1000;
/** Shapes carry the request's own text: a huge one is planned each time. */
const MAX_SHAPE = 4096;

export function createPlanCache(): PlanCache {
  const plans = new Map<string, CompiledRequest>();
  const stats = { hits: 0, misses: 0, size: 0 };
  return {
    stats,
    get(shape) {
      const found = plans.get(shape);
      if (found) stats.hits++;
      else stats.misses++;
      return found;
    },
    set(shape, compiled) {
      if (shape.length > MAX_SHAPE) return;
      if (plans.size >= MAX_PLANS) plans.delete(plans.keys().next().value ?? '');
      plans.set(shape, compiled);
      stats.size = plans.size;
    },
  };
}
