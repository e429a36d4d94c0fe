%% SPDX-License-Identifier: Apache-2.0
%% @doc What a service of the node is: a module that understands terms and knows nothing of ports.
%%
%% `hornbeam_services' has the table of them and says where handle/3 runs: *inline*, in the worker
%% process between two packets, or in a process of its own. A service that is listed as inline
%% does bounded work: it never receives, sleeps, calls a process or visits a whole table; what it
%% does keeps every request of that worker waiting.
-module(hornbeam_service).

-export_type([arguments/0, keywords/0, context/0, result/0]).

-type arguments() :: [term()].
%% Names are text: binaries.
-type keywords() :: #{term() => term()}.

-type context() :: #{
    %% The name the service was asked for by; one module may have several.
    service := binary(),
    %% The worker process whose Python program asks.
    worker := pid(),
    %% Id of the call, 0 for a cast.
    call := non_neg_integer(),
    %% Origin of the call: the id of an exchange, 0, or the negated id of a call of the node
    %% (PROTOCOL.md, section 4.3).
    exchange := integer()
}.

-type result() ::
    {ok, term()}
    %% Failed as foreseen: RemoteError in Python, its class is `return'.
    | {error, Reason :: term()}
    %% There is nothing of that name: NotRegistered.
    | {not_registered, Name :: term()}
    %% The arguments are wrong, the text says which and what is expected: TermError.
    | {bad_term, Text :: binary()}
    %% A limit is reached and nothing was done: Overloaded.
    | {overloaded, Resource :: binary(), Limit :: non_neg_integer()}.

%% An exception is RemoteError in Python, with the stack.
-callback handle(arguments(), keywords(), context()) -> result().
