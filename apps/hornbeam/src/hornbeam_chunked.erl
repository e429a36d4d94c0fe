%% SPDX-License-Identifier: Apache-2.0
%% @doc A strict decoder for bodies in `transfer-encoding: chunked', fed as the bytes come.
%% Pure; runs in the connection process. It takes the grammar of RFC 9112 7.1 and nothing beside
%% it: where two readers could disagree about the end of a body, a request can be smuggled in.
-module(hornbeam_chunked).

-export([init/1, feed/2, refusal/1]).
-export_type([limits/0, state/0, trailers/0, reason/0]).

%% Of `hornbeam_edge:limits()'.
-type limits() :: #{
    %% Bytes of the decoded body.
    max_body := non_neg_integer() | infinity,
    %% Number of trailer fields.
    max_headers := non_neg_integer(),
    %% Bytes of one trailer line, without its CRLF.
    max_header_size := pos_integer(),
    _ => _
}.

-type trailers() :: [{Name :: binary(), Value :: binary()}].
%% In order; names in lower case, values without white space around them.

-type reason() ::
    bad_size
    | bad_extension
    | extensions_too_long
    | bad_chunk_end
    | body_too_large
    | bad_trailer
    | forbidden_trailer
    | too_many_trailers
    | trailer_too_large.

-record(limits, {
    body :: non_neg_integer() | infinity,
    trailers :: non_neg_integer(),
    trailer :: pos_integer()
}).

-record(state, {
    %% What comes next.
    next ::
        {size, Digits :: 0..16, Size :: non_neg_integer()}
        | {extension, Size :: non_neg_integer()}
        | {size_lf, Size :: non_neg_integer()}
        | {data, Left :: pos_integer()}
        | data_cr
        | data_lf
        | {trailer, Line :: binary()},
    limits :: #limits{},
    %% Bytes of all chunks so far whose size is known.
    body = 0 :: non_neg_integer(),
    %% Bytes of extensions so far.
    extensions = 0 :: non_neg_integer(),
    %% Latest first.
    trailers = [] :: trailers()
}).

-opaque state() :: #state{}.

%% More digits do not fit 64 bits, which is what others count in.
-define(MAX_DIGITS, 16).
%% Of a whole body. Nobody is known to send any; they must not be a way to send without limit.
-define(MAX_EXTENSIONS, 4096).

-spec init(limits()) -> state().
init(#{max_body := Body, max_headers := Trailers, max_header_size := Trailer}) ->
    Limits = #limits{body = Body, trailers = Trailers, trailer = Trailer},
    #state{next = {size, 0, 0}, limits = Limits}.

%% @doc Takes the next bytes of the connection. Gives the pieces of the body in them, in order and
%% none empty, as parts of `Data' that are not copied; when the body is over, its trailers and the
%% bytes that follow it. After an error the state is of no use any more.
-spec feed(binary(), state()) ->
    {more, [binary()], state()}
    | {done, [binary()], trailers(), Rest :: binary()}
    | {error, reason()}.
feed(Data, State) ->
    next(Data, State, []).

%% @doc The status to answer with, and why in words.
-spec refusal(reason()) -> {400 | 413 | 431, binary()}.
refusal(Reason) ->
    {Status, Text} = in_words(Reason),
    {Status, list_to_binary(Text)}.

in_words(bad_size) -> {400, "a chunk size is not 1 to 16 hexadecimal digits"};
in_words(bad_extension) -> {400, "a chunk extension has a control character"};
in_words(extensions_too_long) -> {400, "the chunk extensions are too long"};
in_words(bad_chunk_end) -> {400, "a chunk is not followed by CRLF"};
in_words(body_too_large) -> {413, "the body is too large"};
in_words(bad_trailer) -> {400, "a trailer is no header line"};
in_words(forbidden_trailer) -> {400, "a trailer has a name that only a header may have"};
in_words(too_many_trailers) -> {431, "too many trailers"};
in_words(trailer_too_large) -> {431, "a trailer is too large"}.

next(<<>>, State, Done) ->
    {more, lists:reverse(Done), State};
next(Data, #state{next = {size, Digits, Size}} = State, Done) ->
    size(Data, Digits, Size, State, Done);
next(Data, #state{next = {extension, Size}} = State, Done) ->
    extension(Data, Size, State#state.extensions, State, Done);
next(<<$\n, Rest/binary>>, #state{next = {size_lf, Size}} = State, Done) ->
    chunk(Rest, Size, State, Done);
next(_, #state{next = {size_lf, _}}, _) ->
    {error, bad_size};
next(Data, #state{next = {data, Left}} = State, Done) ->
    data(Data, Left, State, Done);
next(<<$\r, Rest/binary>>, #state{next = data_cr} = State, Done) ->
    next(Rest, State#state{next = data_lf}, Done);
next(<<$\n, Rest/binary>>, #state{next = data_lf} = State, Done) ->
    next(Rest, State#state{next = {size, 0, 0}}, Done);
next(Data, #state{next = {trailer, Line}} = State, Done) ->
    trailer_line(<<Line/binary, Data/binary>>, State, Done);
next(_, _, _) ->
    {error, bad_chunk_end}.

size(<<C, Rest/binary>>, Digits, Size, State, Done) when C >= $0, C =< $9, Digits < ?MAX_DIGITS ->
    size(Rest, Digits + 1, Size * 16 + C - $0, State, Done);
size(<<C, Rest/binary>>, Digits, Size, State, Done) when C >= $a, C =< $f, Digits < ?MAX_DIGITS ->
    size(Rest, Digits + 1, Size * 16 + C - $a + 10, State, Done);
size(<<C, Rest/binary>>, Digits, Size, State, Done) when C >= $A, C =< $F, Digits < ?MAX_DIGITS ->
    size(Rest, Digits + 1, Size * 16 + C - $A + 10, State, Done);
size(<<$\r, Rest/binary>>, Digits, Size, State, Done) when Digits > 0 ->
    next(Rest, State#state{next = {size_lf, Size}}, Done);
size(<<$;, Rest/binary>>, Digits, Size, #state{extensions = Bytes} = State, Done) when Digits > 0 ->
    extension(Rest, Size, Bytes, State, Done);
size(<<>>, Digits, Size, State, Done) ->
    next(<<>>, State#state{next = {size, Digits, Size}}, Done);
size(_, _, _, _, _) ->
    {error, bad_size}.

extension(_, _, Bytes, _, _) when Bytes > ?MAX_EXTENSIONS ->
    {error, extensions_too_long};
extension(<<$\r, Rest/binary>>, Size, Bytes, State, Done) ->
    next(Rest, State#state{next = {size_lf, Size}, extensions = Bytes}, Done);
extension(<<C, Rest/binary>>, Size, Bytes, State, Done) when C >= $\s, C =/= 16#7F; C =:= $\t ->
    extension(Rest, Size, Bytes + 1, State, Done);
extension(<<>>, Size, Bytes, State, Done) ->
    next(<<>>, State#state{next = {extension, Size}, extensions = Bytes}, Done);
extension(_, _, _, _, _) ->
    {error, bad_extension}.

chunk(Rest, 0, State, Done) ->
    next(Rest, State#state{next = {trailer, <<>>}}, Done);
chunk(Rest, Size, #state{body = Body0, limits = #limits{body = Max}} = State, Done) ->
    case Body0 + Size of
        Body when Body > Max -> {error, body_too_large};
        Body -> next(Rest, State#state{next = {data, Size}, body = Body}, Done)
    end.

data(Data, Left, State, Done) when byte_size(Data) >= Left ->
    <<Piece:Left/binary, Rest/binary>> = Data,
    next(Rest, State#state{next = data_cr}, [Piece | Done]);
data(Data, Left, State, Done) ->
    next(<<>>, State#state{next = {data, Left - byte_size(Data)}}, [Data | Done]).

trailer_line(Data, #state{limits = #limits{trailer = Max}} = State, Done) ->
    case binary:match(Data, <<"\r\n">>) of
        {0, 2} ->
            <<"\r\n", Rest/binary>> = Data,
            {done, lists:reverse(Done), lists:reverse(State#state.trailers), Rest};
        {Size, 2} when Size =< Max ->
            <<Line:Size/binary, "\r\n", Rest/binary>> = Data,
            trailer(Line, Rest, State, Done);
        %% The last byte may be the CR of the CRLF.
        nomatch when byte_size(Data) =< Max + 1 ->
            next(<<>>, State#state{next = {trailer, Data}}, Done);
        _ ->
            {error, trailer_too_large}
    end.

trailer(_, _, #state{trailers = Trailers, limits = #limits{trailers = Max}}, _) when
    length(Trailers) >= Max
->
    {error, too_many_trailers};
trailer(Line, Rest, #state{trailers = Trailers} = State, Done) ->
    case field(binary:split(Line, <<":">>)) of
        {ok, Field} ->
            Next = State#state{next = {trailer, <<>>}, trailers = [Field | Trailers]},
            case Rest of
                <<>> -> next(<<>>, Next, Done);
                _ -> trailer_line(Rest, Next, Done)
            end;
        {error, _} = Error ->
            Error
    end.

field([Name0, Value0]) ->
    Value = string:trim(binary_to_list(Value0), both, " \t"),
    Name = cowboy_bstr:to_lower(Name0),
    Good = hornbeam_edge_syntax:is_field_name(Name) andalso
        hornbeam_edge_syntax:is_field_value(Value0),
    case Good andalso is_allowed(Name) of
        true -> {ok, {Name, list_to_binary(Value)}};
        false when Good -> {error, forbidden_trailer};
        false -> {error, bad_trailer}
    end;
field([_]) ->
    {error, bad_trailer}.

%% Framing, routing, controls, authentication and content format are decided before the body is
%% read; as trailers they could only mislead. (RFC 9110 6.5.1)
is_allowed(<<"if-", _/binary>>) -> false;
is_allowed(Name) ->
    not lists:member(Name, [
        <<"authorization">>, <<"cache-control">>, <<"connection">>, <<"content-encoding">>,
        <<"content-length">>, <<"content-range">>, <<"content-type">>, <<"cookie">>, <<"expect">>,
        <<"forwarded">>, <<"host">>, <<"keep-alive">>, <<"max-forwards">>, <<"pragma">>,
        <<"proxy-authenticate">>, <<"proxy-authorization">>, <<"proxy-connection">>, <<"range">>,
        <<"set-cookie">>, <<"te">>, <<"trailer">>, <<"transfer-encoding">>, <<"upgrade">>
    ]).
