-- What a step has done so far is read with the step, not only while it is carried out.
CREATE INDEX journal_of_step ON journal (step, id);
