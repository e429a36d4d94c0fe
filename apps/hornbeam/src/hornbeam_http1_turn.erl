%% SPDX-License-Identifier: Apache-2.0
%% @doc Whether a pipelined HTTP/1 request may be taken over from Cowboy.
%%
%% Cowboy starts requests as it reads them, but keeps the commands of one that is not yet due,
%% `switch_protocol' too, and goes on reading: the body of a chunked request behind an unanswered
%% one would go through Cowboy's decoder, and what that takes for the next request would start.
%% Such a request is refused (411: RFC 9110 15.5.12 lets a server ask for a length), and nothing
%% that comes after it on the connection is served: it is cut off there. So it is after any other
%% request that is refused before its turn.
%%
%% Runs in the connection process, which is the process of all its streams; their common knowledge
%% is in its process dictionary.
-module(hornbeam_http1_turn).

-export([started/1, ended/1, open/0, take_over/1, cut/0, is_cut/0]).

-define(STARTED, hornbeam_http1_started).
-define(ENDED, hornbeam_http1_ended).
-define(CUT, hornbeam_http1_cut).

%% @doc To be called when a stream starts that is not cut off. HTTP/1 streams start in order.
-spec started(cowboy_stream:streamid()) -> ok.
started(StreamID) ->
    _ = put(?STARTED, StreamID),
    ok.

%% @doc Streams that have started and not ended.
-spec open() -> non_neg_integer().
open() ->
    number(get(?STARTED)) - number(get(?ENDED)).

number(undefined) -> 0;
number(StreamID) -> StreamID.

%% @doc To be called when a stream ends, whatever the reason. HTTP/1 streams end in order.
-spec ended(cowboy_stream:streamid()) -> ok.
ended(StreamID) ->
    _ = put(?ENDED, StreamID),
    ok.

%% @doc `now' when every earlier request of the connection is over. `never' when one is not: this
%% request is to be refused with 411, and from now on `is_cut/0' is true.
-spec take_over(cowboy_stream:streamid()) -> now | never.
take_over(StreamID) ->
    case get(?ENDED) of
        Ended when Ended =:= StreamID - 1; Ended =:= undefined, StreamID =:= 1 ->
            now;
        _ ->
            ok = cut(),
            never
    end.

%% @doc To be called when an HTTP/1 request is refused. Where the connection is closed after its
%% response, what follows must not have been started before.
-spec cut() -> ok.
cut() ->
    _ = put(?CUT, true),
    ok.

%% @doc To be asked when a stream starts: true when it came behind a cut, and must be neither
%% served nor answered.
-spec is_cut() -> boolean().
is_cut() ->
    get(?CUT) =:= true.
