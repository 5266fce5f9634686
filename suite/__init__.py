"""hopscope's engine: tasks, models, measures, training and records, usable without the rest of the project."""
