"""Real nodes, real validators' clients, faults on a seeded schedule, and a judge outside."""
