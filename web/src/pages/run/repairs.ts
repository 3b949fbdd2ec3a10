// What can be done about a run by hand, in words, and where it is sent.
import type { RepairAction } from '../../lib/types';

interface Repair {
  label: string;
  title: string;
  text: string;
  submit: string;
  done: string;
  method: 'POST' | 'PUT';
  path: string;
  /** Whether it is refused without a reason. */
  reasoned: boolean;
}

export const REPAIRS: Partial<Record<RepairAction, Repair>> = {
  retry: {
    label: 'Take it up again',
    title: 'Take this run up again?',
    text: 'It goes on where it failed. Approvals that were open are asked for anew; what succeeded is not repeated.',
    submit: 'Take it up again',
    done: 'Taken up again',
    method: 'POST',
    path: 'retry',
    reasoned: false,
  },
  skip_step: {
    label: 'Pass over a step',
    title: 'Pass over a step?',
    text: 'The step is not done. The run goes on as if it had come to the outcome that you choose.',
    submit: 'Pass over the step',
    done: 'Passed over the step',
    method: 'POST',
    path: 'skip-step',
    reasoned: true,
  },
  change_variables: {
    label: 'Correct variables',
    title: 'Correct variables',
    text: 'Steps that come later see the new values. A failed run stays failed until it is taken up again.',
    submit: 'Save the variables',
    done: 'Variables corrected',
    method: 'PUT',
    path: 'variables',
    reasoned: true,
  },
  start_again: {
    label: 'Start again',
    title: 'Start it again on the newest version?',
    text: 'A new run begins with what this one was given at first, in the name of whoever asked. This one stays as it is.',
    submit: 'Start again',
    done: 'Started again',
    method: 'POST',
    path: 'start-again',
    reasoned: true,
  },
};
